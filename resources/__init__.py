"""What assets use, one set a deployment. Making a resource opens nothing; work begins when an asset asks for it."""
