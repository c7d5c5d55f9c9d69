"""The few-shot benchmark: what a few annotated images bring, from each initialization and with each tuning."""
