"""The syntax of one entry of nova's ``[libvirt] cpu_model_extra_flags``."""


def parse_flag(text: str) -> tuple[str, bool]:
    """Return the CPU flag, in lower case, and whether it is required (else disabled).

    Source: ``_prepare_cpu_flag`` of nova's virt/libvirt/driver.py, which is given each entry in
    lower case: ``svm``, ``+svm`` and ``++svm`` require it, ``-svm`` and ``--svm`` disable it.
    """
    text = text.lower()
    if text.startswith('-'):
        return text.lstrip('-'), False
    return text.lstrip('+'), True
