"""Fake providers in the test's own event loop, and a client for them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from cartstream.fakes.service import Fakes, serving
from cartstream.fakes.settings import FakesSettings
from cartstream.runtime.settings import load


@pytest.fixture
async def fakes() -> AsyncIterator[Fakes]:
    async with serving(load(FakesSettings, fakes_keep=100)) as running:
        yield running


@pytest.fixture
async def http(fakes: Fakes) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(fakes.addresses.http) as session:
        yield session
