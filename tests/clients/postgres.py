"""How tests reach the PostgreSQL wire of a server."""

from conftest import PASSWORD


def values(server, **changes):
    """Host, port, user, password and database, by the names that drivers share."""
    given = {"host": "127.0.0.1", "port": server.pg_port, "user": "admin", "password": PASSWORD, "dbname": "qdb"}
    return {**given, **changes}


def conninfo(server, **changes):
    return " ".join(f"{key}={value}" for key, value in values(server, **changes).items())


def url(server, scheme="postgresql", user="admin"):
    return f"{scheme}://{user}:{PASSWORD}@127.0.0.1:{server.pg_port}/qdb"
