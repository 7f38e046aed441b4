"""The template of dashboards and of the alarms across stacks, written from what is measured."""
