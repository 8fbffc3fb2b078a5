"""All programs, in the order of the page."""

from .databases import DATABASES
from .languages import LANGUAGES
from .tools import TOOLS
from .web import SERVERS

PROGRAMS = {program.name: program for program in (*DATABASES, *SERVERS, *LANGUAGES, *TOOLS)}
