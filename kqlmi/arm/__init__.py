"""What kqlmi asks of Azure Resource Manager, through azure-mgmt-kusto."""
