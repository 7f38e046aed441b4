"""The HTTP interface to incidents: REST, GraphQL and a form for citizens, over one service."""
