"""Data: sources, the long tail, label and quantity skew, per-client splits.

The tables below name what a scenario's ``data`` block can ask for; importing them imports neither torch,
flwr nor numpy.

flwr-datasets' partitioners are not wrapped: they need Hugging Face's ``datasets``, build one object per
client and cannot take target sizes, so the base install would need a second implementation of each anyway.
Where the definitions coincide, a test compares the two.
"""

from __future__ import annotations

from fedbal.registry import Entry, Table

DATASETS = Table(
    "dataset",
    {
        "digits": Entry(
            "fedbal.data.digits:load",
            "fedbal.data.params:DigitsData",
            "1 797 handwritten digits, 8x8, 10 classes; shipped with the package",
            "Alpaydin and Kaynak, UCI 1998",
        ),
        "synthetic": Entry(
            "fedbal.data.synthetic:load",
            "fedbal.data.params:SyntheticData",
            "Synthetic(alpha, beta): 60 features, 10 classes, one softmax model per device",
            "Li et al., MLSys 2020",
        ),
        "blobs": Entry(
            "fedbal.data.blobs:load",
            "fedbal.data.params:BlobsData",
            "generated images of several sites with masks of blobs; sites differ in look and in quality",
        ),
        "fashion-mnist": Entry(
            "fedbal.data.mnist:load_fashion_mnist",
            "fedbal.data.params:FashionMnistData",
            "60 000 + 10 000 pictures of clothes, 28x28, 10 classes",
            "Xiao et al., arXiv 2017",
        ),
        "mnist": Entry(
            "fedbal.data.mnist:load_mnist",
            "fedbal.data.params:MnistData",
            "60 000 + 10 000 handwritten digits, 28x28, 10 classes",
            "LeCun et al., Proc. IEEE 1998",
        ),
        "cifar10": Entry(
            "fedbal.data.cifar:load_cifar10",
            "fedbal.data.params:Cifar10Data",
            "50 000 + 10 000 colour pictures of things and animals, 32x32, 10 classes",
            "Krizhevsky, technical report 2009",
        ),
        "cifar100": Entry(
            "fedbal.data.cifar:load_cifar100",
            "fedbal.data.params:Cifar100Data",
            "50 000 + 10 000 colour pictures, 32x32, 100 fine or 20 coarse classes",
            "Krizhevsky, technical report 2009",
        ),
        "table": Entry(
            "fedbal.data.table:load",
            "fedbal.data.params:TableData",
            "your own NPZ, CSV or Parquet file: features, a label, perhaps a client column",
        ),
        "folder": Entry(
            "fedbal.data.folder:load",
            "fedbal.data.params:FolderData",
            "your own pictures: a folder for each class, perhaps within a folder for each client",
        ),
        "huggingface": Entry(
            "fedbal.data.huggingface:load",
            "fedbal.data.params:HuggingFaceData",
            "pictures or tables from the Hugging Face hub, or a local folder in its form",
            "Lhoest et al., EMNLP 2021",
        ),
    },
)

PARTITIONS = Table(
    "partition",
    {
        "iid": Entry(
            "fedbal.data.partitions.iid:iid",
            "fedbal.data.params:IidParams",
            "every client a random sample of the pool",
            "McMahan et al., AISTATS 2017",
        ),
        "dirichlet": Entry(
            "fedbal.data.partitions.dirichlet:dirichlet",
            "fedbal.data.params:DirichletParams",
            "each class divided over the clients by Dirichlet(alpha) shares",
            "Yurochkin et al., ICML 2019; Li et al., ICDE 2022",
        ),
        "dirichlet_client": Entry(
            "fedbal.data.partitions.dirichlet_client:dirichlet_client",
            "fedbal.data.params:DirichletClientParams",
            "each client draws its own Dirichlet label proportions; sizes are fixed",
            "Hsu et al., arXiv 2019",
        ),
        "pathological": Entry(
            "fedbal.data.partitions.pathological:pathological",
            "fedbal.data.params:PathologicalParams",
            "each client holds exactly k classes",
            "Li et al., ICDE 2022",
        ),
        "shards": Entry(
            "fedbal.data.partitions.shards:shards",
            "fedbal.data.params:ShardsParams",
            "rows sorted by label, cut into equal shards, some dealt to each client",
            "McMahan et al., AISTATS 2017",
        ),
        "niid2": Entry(
            "fedbal.data.partitions.niid2:niid2",
            "fedbal.data.params:Niid2Params",
            "biased clients with a group of classes each, beside clients with all classes; equal sizes",
            "Ye et al., ICML 2023",
        ),
        "natural_id": Entry(
            "fedbal.data.partitions.natural_id:natural_id",
            "fedbal.data.params:NaturalIdParams",
            "one client per distinct value of a column",
        ),
    },
)

QUANTITIES = Table(
    "quantity",
    {
        "lognormal": Entry(
            "fedbal.data.quantity:lognormal",
            "fedbal.data.params:LognormalParams",
            "client sizes proportional to exp(sigma * z), z standard normal",
        ),
        "power_law": Entry(
            "fedbal.data.quantity:power_law",
            "fedbal.data.params:PowerLawParams",
            "client sizes proportional to rank ** -exponent, ranks in random order",
        ),
        "dirichlet_sizes": Entry(
            "fedbal.data.quantity:dirichlet_sizes",
            "fedbal.data.params:DirichletSizesParams",
            "client sizes proportional to one Dirichlet(alpha) draw",
            "Li et al., ICDE 2022",
        ),
    },
)

__all__ = ["DATASETS", "PARTITIONS", "QUANTITIES"]
