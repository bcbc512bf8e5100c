"""HTTP: OFREP, choices and events for websites; metrics and health for operators."""
