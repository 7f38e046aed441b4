"""The layers a dataset passes through, one module each; every module has the same two functions.

`inputs` names what the layer would be made from now; `materialize` makes and publishes it. A partition is fresh
where its newest manifest was made from exactly those inputs. Nothing here knows the orchestrator.
"""

CURATED = "curated"  # for who only reads what was published, and should not pay for the engine that makes it
