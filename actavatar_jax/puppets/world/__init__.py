"""The drawn world: presenters whose lips follow real phonemes and who do what the prompt says in its windows.

A clip is made top down: `clips` asks `script` what happens, `speech` what is said, `idle` and `actions` how the
presenter stands in every frame (`pose`), and `draw` paints that `identity`.
"""
