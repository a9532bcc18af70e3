from huey.api import SqliteHuey as SqliteHuey
