"""How is an encoder taught what things cost? Text and photograph to log price, through a head, and back to an encoder.

`price finetune` (`engine.finetune.run`) writes an encoder that opens like any other; the member `tuned` of the blend
(`engine.members.finetuned`) does the same inside every fold, where a score must not be flattered.
"""
