"""`python -m tests.services`: whether the database and the Redis that the environment names answer here.

Says what the suite's second run will do. Exit code 0 when both answer.
"""

from __future__ import annotations

import os
import sys

import psycopg
import redis

TIMEOUT_S = 3


def main() -> int:
    missing = [name for name, answers in (("PostgreSQL", _postgres()), ("Redis", _redis())) if not answers]
    if missing:
        print(f"{' and '.join(missing)} on this machine did not answer: the suite ran on SQLite alone.")
        return 1
    print("PostgreSQL and Redis answer: what uses a database runs once more, on them.")
    return 0


def _postgres() -> bool:
    try:
        psycopg.connect(os.environ["DATABASE_URL"], connect_timeout=TIMEOUT_S).close()
    except psycopg.OperationalError:
        return False
    return True


def _redis() -> bool:
    client = redis.Redis.from_url(os.environ["REDIS_URL"], socket_connect_timeout=TIMEOUT_S, socket_timeout=TIMEOUT_S)
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


if __name__ == "__main__":
    sys.exit(main())
