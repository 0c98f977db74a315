"""RQ: a pool of its simple workers, which run jobs in their own process and not in a fork for each."""

import common


def job(data):
    return common.handle(data)


def queue():
    from redis import Redis
    from rq import Queue

    return Queue("bench", connection=Redis.from_url(common.URL))


def work():
    from rq import SimpleWorker
    from rq.worker_pool import WorkerPool

    here = queue()
    pool = WorkerPool([here], connection=here.connection, num_workers=common.CONCURRENCY, worker_class=SimpleWorker)
    pool.start(logging_level="ERROR")


if __name__ == "__main__":
    target = queue()
    keep = {"result_ttl": -1 if common.KEEP else 0}

    def bulk(datas):
        prepare = target.prepare_data
        target.enqueue_many([prepare("peer_rq.job", (data,), **keep) for data in datas])

    common.main(lambda data: target.enqueue("peer_rq.job", data, **keep), work, bulk)
