"""What a program that creates jobs uses: saving, events, waiting for results."""
