"""Calls of one message and one answer: taken from grpc's core, admitted, put in line, answered."""
