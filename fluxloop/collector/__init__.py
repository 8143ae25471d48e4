"""
The collector: a server that receives records, keeps them in a store, and answers questions about them.

`fluxloop serve` runs it. It needs the extra ``collector``.
"""
