"""How an object store is reached: from the session's conf of s3a, else from the environment."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from pyspark import SparkContext
from pyspark.sql import SparkSession

_S3A = "spark.hadoop.fs.s3a."
_AWS_CENTRAL = "s3.amazonaws.com"  # s3a takes it for no endpoint at all
_CREDENTIALS = {
    "access.key": "aws_access_key_id",
    "secret.key": "aws_secret_access_key",
    "session.token": "aws_session_token",
}
# instance, container and web identity credentials are found, and renewed, by the libraries themselves
_ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "aws_region",
    "AWS_REGION": "aws_region",
    "AWS_ENDPOINT_URL": "aws_endpoint_url",
    "AWS_ENDPOINT_URL_S3": "aws_endpoint_url",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "aws_virtual_hosted_style_request",
}
MAX_RETRIES = 30
RETRY_SECONDS = 60
FIRST_BACKOFF_MS = 500
LONGEST_BACKOFF_MS = 5000
"""An object store answers 503 for half a minute now and then: the libraries' defaults give up after some seconds."""


class Options(Mapping[str, Any]):
    """object_store's keys and values. Has credentials: its repr names the keys only. It can be pickled, for tasks.

    A library that wants a dict gets `dict(options)` where it is called.
    """

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __hash__(self) -> int:
        return hash(frozenset(self._values.items()))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Options) and self._values == other._values

    def __repr__(self) -> str:
        return f"Options({', '.join(f'{key}=***' for key in sorted(self._values))})"

    __str__ = __repr__


NO_OPTIONS = Options({})


def with_retries(options: Options) -> Options:
    """For delta-rs, whose values are texts."""
    retries = {
        "max_retries": str(MAX_RETRIES),
        "retry_timeout": f"{RETRY_SECONDS}s",
        "backoff_config.init_backoff": f"{FIRST_BACKOFF_MS}ms",
        "backoff_config.max_backoff": f"{LONGEST_BACKOFF_MS}ms",
    }
    return Options({**options, **retries})


def for_polars(options: Options) -> Options:
    """For Polars, which takes numbers, and other names than delta-rs."""
    retries = {
        "max_retries": MAX_RETRIES,
        "retry_timeout_ms": RETRY_SECONDS * 1000,
        "retry_init_backoff_ms": FIRST_BACKOFF_MS,
        "retry_max_backoff_ms": LONGEST_BACKOFF_MS,
    }
    return Options({**options, **retries})


def s3_options(bucket: str, spark: SparkSession | None) -> Options:
    """Of a bucket: what the session's conf says of s3a (of this bucket before that of all), else the environment.

    A Hadoop credential file or provider class is Spark's alone: then the environment must name the credential too.
    """
    conf = _s3a_conf(bucket, spark)
    found = _credentials(conf)
    for name, key in _ENVIRONMENT.items():
        if os.environ.get(name):
            found[key] = os.environ[name]
    if region := conf.get("endpoint.region"):
        found["aws_region"] = region
    found.update(_endpoint(bucket, conf))
    if found.get("aws_endpoint_url", "").startswith("http:"):
        found["aws_allow_http"] = "true"
    return Options(found)


def _s3a_conf(bucket: str, spark: SparkSession | None) -> dict[str, str]:
    """Keys without `fs.s3a.`."""
    if spark is None:
        return {}
    try:
        context = spark.sparkContext
    except Exception:  # Spark Connect has no context, and names the error differently from release to release
        return {}
    conf = dict(_of_context(context))
    own = f"bucket.{bucket}."
    return {**conf, **{k.removeprefix(own): v for k, v in conf.items() if k.startswith(own)}}


@lru_cache(maxsize=1)
def _of_context(context: SparkContext) -> tuple[tuple[str, str], ...]:
    """A context's conf does not change, and is asked for each file that is opened."""
    return tuple((k.removeprefix(_S3A), v) for k, v in context.getConf().getAll() if k.startswith(_S3A))


def _credentials(conf: Mapping[str, str]) -> dict[str, str]:
    """A key, its secret and its token come from one place: a token of another key would be refused."""
    if "AnonymousAWSCredentialsProvider" in conf.get("aws.credentials.provider", ""):
        return {"aws_skip_signature": "true"}
    if conf.get("access.key"):
        return {key: conf[name] for name, key in _CREDENTIALS.items() if conf.get(name)}
    names = {key.upper(): key for key in _CREDENTIALS.values()}
    return {key: os.environ[name] for name, key in names.items() if os.environ.get(name)}


def _endpoint(bucket: str, conf: Mapping[str, str]) -> dict[str, str]:
    """s3a puts the bucket before the host's name unless told otherwise; object_store expects that in the endpoint."""
    endpoint = conf.get("endpoint", "").rstrip("/")
    if not endpoint or endpoint.removeprefix("https://").removeprefix("http://") == _AWS_CENTRAL:
        return {}
    if "://" not in endpoint:
        scheme = "http" if conf.get("connection.ssl.enabled", "true").lower() == "false" else "https"
        endpoint = f"{scheme}://{endpoint}"
    parts = urlsplit(endpoint)
    is_path = conf.get("path.style.access", "false").lower() == "true"
    if is_path or "." in bucket or _is_address(parts.hostname or ""):
        return {"aws_endpoint_url": endpoint, "aws_virtual_hosted_style_request": "false"}
    hosted = parts._replace(netloc=f"{bucket}.{parts.netloc}").geturl()
    return {"aws_endpoint_url": hosted, "aws_virtual_hosted_style_request": "true"}


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
