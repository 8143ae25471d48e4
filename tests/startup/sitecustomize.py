"""Found by the interpreter of a test's subprocess: keeps it on this machine, see `offline.environment`."""

import offline

offline.apply()
offline.hide_modules()
