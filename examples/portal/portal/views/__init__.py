"""The pages of the portal, a module each, and their templates beside the package."""
