"""Client libraries: `client.Lever` speaks gRPC, `openfeature.LeverProvider` is a provider of OpenFeature.

js/ has the providers of JavaScript. They need nothing of the server but the generated stubs, and nothing of theirs is needed to speak to it.
"""
