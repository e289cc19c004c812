"""Writes the contract that Triton's own client of gRPC was made from. Called with: FILE."""

import sys
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from tritonclient.grpc import model_config_pb2, service_pb2

contract = FileDescriptorSet()
for module in (model_config_pb2, service_pb2):  # the second refers to the first
    module.DESCRIPTOR.CopyToProto(contract.file.add())
Path(sys.argv[1]).write_bytes(contract.SerializeToString())
