"""Judges the arguments of a request; what is wrong is told without repeating it."""


def number(name: str, value: object, most: float) -> None:
    """Make sure that it is a number above 0.

    :raises TypeError, ValueError: it is not, or more than ``most``
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f'{name} is not a number but {type(value).__name__}')
    if not 0 < value <= most:
        raise ValueError(f'{name} is not in 0..{most:g}')


def count(name: str, value: object, most: int) -> None:
    """Make sure that it is a whole number above 0.

    :raises TypeError, ValueError: it is not, or more than ``most``
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'{name} is not a whole number but {type(value).__name__}')
    if not 1 <= value <= most:
        raise ValueError(f'{name} is not in 1..{most}')


def flag(name: str, value: object) -> None:
    """Make sure that it is true or false.

    :raises TypeError: it is neither
    """
    if not isinstance(value, bool):
        raise TypeError(f'{name} is not true or false but {type(value).__name__}')


def words(name: str, value: object, most: int) -> None:
    """Make sure that it is a line of text, and not empty.

    :raises TypeError, ValueError: it is not, or longer than ``most`` characters
    """
    if not isinstance(value, str):
        raise TypeError(f'{name} is not a text but {type(value).__name__}')
    if not value.strip() or len(value) > most or not value.isprintable():
        raise ValueError(f'{name} is not a line of 1 to {most} printable characters')
