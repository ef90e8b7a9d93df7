"""What a Function or a class displays: what it is, how large its pool is, a form to call it."""
