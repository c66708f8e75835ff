"""From lines to events: what a program wrote as one thing is one record.

A stream is one or several lanes of lines (`joiner`): a file is one lane, the standard output and the standard error of a container are two.
Each lane holds its last event until the next line shows that it is complete. A line

- begins an event when its front is one that records begin with (`heads`): a time, a level, a priority, or a form that the lane's first
  lines share;
- continues the event when it is part of a stack trace, a statement or a JSON text (`traces`), or deeper indented than its first line;
- else, below an event with a head, is held with it and marked as a stray. When the event is complete, strays stay with it where most
  lines of the lane have heads, and become records of their own where they have not.

An event is bounded in lines and characters (`limits`); `flush` ends everything that is held, so that a timer bounds it in time.
Events are given in the order of their first lines, whatever the lane.
"""
