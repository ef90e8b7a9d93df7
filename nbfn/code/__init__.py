"""What user code is: what a function refers to, what the files say now, how both travel by value, under which names."""
