"""Items and vectors to what the models see."""
