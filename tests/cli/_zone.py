"""A zone file with one name, for commands that read one."""

ZONE = """
[zone]
origin = "example.com"
primary = "ns1.example.com"
contact = "admin.example.com"
[endpoints]
eu-1 = "192.0.2.1"
[names.www]
policy = "all-up"
endpoints = ["eu-1"]
"""
