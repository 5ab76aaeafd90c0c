"""The errors of requests: what each proves, and whether to send a request again."""
