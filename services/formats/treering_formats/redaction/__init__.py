"""Secrets in records are masked before the records go anywhere. Off unless somebody asks for it.

`built_in` has the rules that come with Treering, `settings` reads rules of one's own, `redactor` masks records and counts by rule.
"""
