"""What producers do."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import kue
from tests.queue.whole.machine import SHAPES, Choice, Machine, Options, fates, kinds, options, picks, policies
from tests.queue.whole.model import ENDED, Claim, Job


class Producers(Machine):
    @precondition(lambda self: self.few() and "free =\"u\"" in self.model.claims)
    @rule(of=options, until=st.sampled_from(["end", "start", "success"]), choice=fates,
          on_duplicate=st.sampled_from(["return", "reject", "replace", "extend"]))  # fmt: skip
    def create_another(self, of: Options, until: str, choice: Choice, on_duplicate: str) -> None:
        """One that may be a duplicate: the chance alone would seldom have it."""
        self.create_unique("free", of, "u", until, None, choice, on_duplicate)

    def new(self, kind: str, of: Options) -> tuple[kue.Job, Job]:
        given = {name: value for name, value in of.items() if name != "key"}
        return self.queue.create(kind, {"k": of["key"]}, **given), Job(0, kind, **of)

    @precondition(lambda self: self.few())
    @rule(kind=kinds, of=options, choice=fates)
    def create(self, kind: str, of: Options, choice: Choice) -> None:
        made, job = self.new(kind, of)
        self.produce(choice, made.save, "create", lambda: self.model.create(job))

    @precondition(lambda self: self.few())
    @rule(
        kind=st.sampled_from(["free", "keyed"]), of=options, key=st.sampled_from(["u", "u", None]),
        for_ms=st.sampled_from([None, None, 2000]),
        until=st.sampled_from(["end", "start", "success"]), choice=fates,
        on_duplicate=st.sampled_from(["return", "reject", "replace", "extend"]),
    )  # fmt: skip
    def create_unique(
        self, kind: str, of: Options, key: str | None, until: str, for_ms: int | None, choice: Choice, on_duplicate: str
    ) -> None:
        made, job = self.new(kind, of)
        made.unique(key, until=until, for_ms=for_ms, on_duplicate=on_duplicate)
        job.claim = self.claim_of(made, until, for_ms)
        expected = self.model.holder_of(job.claim.entry)

        def save() -> None:
            try:
                made.save()
                assert made.duplicate == (expected is not None), (made, expected)
            except kue.DuplicateJob as exc:
                assert exc.job_id == expected

        self.produce(choice, save, "create_unique", lambda: self.model.create_unique(job, on_duplicate))

    def claim_of(self, made: kue.Job, until: str, for_ms: int | None) -> Claim:
        assert made.options.unique is not None
        text = f"{made.type} {made.options.unique.claim(made.data).text}"
        return Claim(text, until, self.model.now + for_ms if for_ms else 0)

    @precondition(lambda self: self.few())
    @rule(kind=kinds, shape=st.sampled_from(sorted(SHAPES)), of=options, policy=policies, choice=fates, pick=picks,
          is_unique=st.booleans())  # fmt: skip
    def create_flow(
        self, kind: str, shape: str, of: Options, policy: str, choice: Choice, pick: int, is_unique: bool
    ) -> None:
        self.flow(kind, shape, of, policy, choice, pick, is_unique)

    def flow(
        self, kind: str, shape: str, of: Options, policy: str, choice: Choice, pick: int = 0, is_unique: bool = False
    ) -> None:
        count, edges = SHAPES[shape]
        ended = [job.id for job in self.model.jobs.values() if job.place in ENDED] if pick % 2 else []
        known = ended if len(ended) > 1 else sorted(self.model.jobs)
        old = [known[(pick + n) % len(known)] for n in range(2)] if len(known) > 1 else []
        made = [self.new((kind, "keyed")[n % 2], {**of, "delay": of["delay"] if n == 0 else 0}) for n in range(count)]
        if is_unique and shape in ("batch", "chain", "two"):  # its last job, which has no children
            made[-1] = self.new("free", {**of, "delay": 0})
            made[-1][0].unique("u")
            made[-1][1].claim = self.claim_of(made[-1][0], "end", None)
        used, expected = [], []
        for child, parent in edges:
            if child >= 0:
                made[parent][0].after(made[child][0], on_failure=policy)
                expected.append((child, parent))
            elif len(old) >= -child:
                made[parent][0].after(self.queue.get(old[child]), on_failure=policy)
                expected.append((-old[child], parent))
            made[parent][1].policy = policy
        if not expected:
            return
        used = [job for job, _ in made]

        def save() -> None:
            if shape == "two":
                self.queue._store.create(used[:2])
            else:
                used[0].save()

        # In Redis the jobs are numbered as they are found: by breadth.
        jobs = [job for _, job in made]
        self.produce(choice, save, "create_flow", lambda: self.model.create_flow(jobs, expected))
