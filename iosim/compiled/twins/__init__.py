"""What the model does with numpy, SimPy or hdrh, done again with plain ints and lists, for the compiled engine.

Classes and functions are named as those that they stand for, and give the same numbers. They keep to what the compiler
understands; `iosim.compiled.hand_over` is the bridge between the two. A class that derives from the one it stands for
replaces the methods that it defines, and no others.
"""
