"""The mail server of this shop: a folder. Like a real one, it does not take every mail at once."""

from email.message import EmailMessage
from email.policy import SMTPUTF8
from pathlib import Path


class TryLater(Exception):
    """The server is busy, or does not know this sender yet."""


class MailboxFull(Exception):
    """The mail cannot be delivered; it may be tomorrow."""


class Outbox:
    """Delivers mail into a folder, one `.eml` file for each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deliver(self, name: str, to: str, subject: str, text: str) -> None:
        """
        Deliver one mail.

        Delivering the same `name` again replaces the file: a listener may run twice, the customer
        has one mail all the same.
        """
        if to.startswith("mailbox-full@"):
            raise MailboxFull(f"552 the mailbox of {to} is full")
        if to.endswith("@greylist.example") and self._is_first_try(name):
            raise TryLater(f"451 {to} is greylisted, try again in a moment")
        mail = EmailMessage(policy=SMTPUTF8)
        mail["From"] = "shop@example.com"
        mail["To"] = to
        mail["Subject"] = subject
        mail.set_content(text)
        partial = self.folder / f".{name}.part"
        partial.write_bytes(mail.as_bytes())
        partial.rename(self.folder / f"{name}.eml")

    def _is_first_try(self, name: str) -> bool:
        seen = self.folder / "greylist"
        seen.mkdir(exist_ok=True)
        try:
            (seen / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True
