"""`.venv/bin/python -m handlers` prints the table of routes: method, path, who may call."""

from handlers.routes import make_table
from services.logs import write_out

for route in sorted(make_table().routes, key=lambda route: route.path):
    alias = f"  = {route.alias_of.method} {route.alias_of.path}" if route.alias_of else ""
    write_out(f"{route.method:7}{route.path:64}{route.endpoint.access.name}{alias}")
