"""The ManagedIdentity policy as pure values, without input or output."""
