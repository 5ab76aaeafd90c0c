"""What a ManagedIdentity policy is: pure values, no input or output."""
