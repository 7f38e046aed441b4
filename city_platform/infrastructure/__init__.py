"""Deploys what infrastructure/ describes: functions' packages, stacks in their order, parameters, a smoke test."""
