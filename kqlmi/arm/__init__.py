"""The adapter to Azure Resource Manager, through azure-mgmt-kusto and azure-mgmt-msi."""
