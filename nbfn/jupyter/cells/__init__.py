"""``%%remote`` cells: parses them, registers their Functions, and runs scripts."""
