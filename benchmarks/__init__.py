"""What onduty costs and how quick it is: each figure beside a named peer or limit, measured in the same run.

``python -m benchmarks`` runs them all, ``python -m benchmarks takeover ticks`` those two, ``--quick`` gives rough
figures in two minutes. Every file measures one thing and says in its first lines how; the last results are kept as
text in ``results/``. Not promised: absolute figures of a shared machine. Read the ratios and the spread.
"""
