"""The networks: an nn.Module a file, shapes in the docstring.

Every head is made from a `HeadShape`, takes what it needs of a `Batch`, answers standardised log price (n,), and
keeps the scaling of its inputs and of the price. Those that fuse vectors (`fused_head`) hand out their last hidden
layer as well.
"""
