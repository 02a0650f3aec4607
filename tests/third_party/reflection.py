"""Reads the contract by reflection (v1alpha) with grpcio. Argument: host:port."""

import sys

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

with grpc.insecure_channel(sys.argv[1]) as channel:
    database = ProtoReflectionDescriptorDatabase(channel)
    services = database.get_services()
    pool = DescriptorPool(database)
    methods = [
        method.full_name
        for service in services
        if service.startswith("baton.")
        for method in pool.FindServiceByName(service).methods
    ]
assert "baton.task.v1.TaskService" in services, services
assert "baton.task.v1.TaskService.CreateTask" in methods, methods
print(f"{len(services)} services, {len(methods)} methods")
