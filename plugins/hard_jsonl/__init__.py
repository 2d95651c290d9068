"""hard_jsonl."""
