"""Services of plone.restapi: jobs, and copy, move and workflow in jobs for who asks for that."""
