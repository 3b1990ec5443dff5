"""The kinds of data whose pictures are annotated: a task says which kinds it takes."""

MASKED = "semantic-segmentation"  # a class for every pixel
BOXED = "object-detection"  # boxes around objects
