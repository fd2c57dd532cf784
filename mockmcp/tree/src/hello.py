print("hello from the example tree")
