"""Fine-tuning of an encoder on prices: from text and photograph to log price, through a head that is thrown away.

`price finetune` (`engine.finetune.run`) writes an encoder that opens like any other; the member `finetuned` of the
blend (`engine.members.finetuned`) does the same inside every fold, where a score must not be flattered.
"""
