"""The step types, a module a kind. Names and parameters are those of DataBrew's recipe step reference.

https://docs.aws.amazon.com/databrew/latest/dg/recipe-actions-reference.html. Where the reference leaves the meaning
open, the step's documentation says what is taken.
"""
