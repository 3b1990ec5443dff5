"""Grading anyone's implementation: is it the canonical network, and if not, where and why not.

``grade_file`` starts ``python -m torchfolio.verification.grading FILE NAME NETWORK [MAP]``, which
runs the person's code. The catalogue's network, itself verified against its canonical
implementation, is the reference: values are matched (``matching``), both run side by side
(``beside``), and where they part (``parting``) small changes of the network are tried (``causes``).
"""

from torchfolio.verification.grading.files import grade_file
from torchfolio.verification.grading.modules import form_of, grade, pass_error
from torchfolio.verification.grading.verdict import Grade

__all__ = ["Grade", "form_of", "grade", "grade_file", "pass_error"]
