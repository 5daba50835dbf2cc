"""Words of the demo shop: categories, brands, places, search texts, remarks and reviews, in Chinese and English."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Category:
    """A category of the shop; `price` is a middling unit price, CNY."""

    name: str
    price: float
    parts: tuple[tuple[str, str], ...]  # subcategories, Chinese and English
    brands: tuple[str, ...]  # cheapest first


CATEGORIES = (
    Category("手机数码", 1800, (("蓝牙耳机", "earbuds"), ("智能手机", "smartphone"), ("充电宝", "power bank"),
             ("智能手表", "smart watch")), ("小石", "Bluewave", "星河", "Nordtone", "Aurum")),
    Category("电脑办公", 2600, (("键盘", "keyboard"), ("显示器", "monitor"), ("笔记本", "laptop"),
             ("打印机", "printer")), ("方正风", "Keystone", "云图", "Helix", "Meridian")),
    Category("女装", 260, (("连衣裙", "dress"), ("针织衫", "knitwear"), ("牛仔裤", "jeans"), ("风衣", "trench coat")),
             ("小雏菊", "Lumi", "素简", "Maison V", "Arielle")),
    Category("男装", 280, (("衬衫", "shirt"), ("夹克", "jacket"), ("休闲裤", "chinos"), ("T恤", "t-shirt")),
             ("海岸线", "Basic&Co", "劲松", "Oakfield", "Brunello")),
    Category("鞋靴箱包", 420, (("跑步鞋", "running shoes"), ("双肩包", "backpack"), ("行李箱", "suitcase"),
             ("短靴", "ankle boots")), ("飞步", "Treadline", "远行", "Stride", "Vantaggio")),
    Category("美妆护肤", 190, (("面膜", "face mask"), ("口红", "lipstick"), ("精华", "serum"), ("防晒霜", "sunscreen")),
             ("草本堂", "Petal", "花间", "Lumière", "Éclat")),
    Category("食品生鲜", 60, (("坚果", "nuts"), ("牛奶", "milk"), ("咖啡", "coffee"), ("水果", "fruit")),
             ("田园", "Daily Farm", "三只鹿", "Roast 27", "Gourmet")),
    Category("母婴", 150, (("纸尿裤", "diapers"), ("奶粉", "formula"), ("绘本", "picture book"), ("积木", "blocks")),
             ("小象", "Babyhug", "贝乐", "Pip's", "Nordkind")),
    Category("家居", 320, (("台灯", "desk lamp"), ("床品", "bedding"), ("收纳盒", "storage box"), ("窗帘", "curtain")),
             ("简居", "Homely", "木语", "Hygge", "Casa Alta")),
    Category("家电", 900, (("电饭煲", "rice cooker"), ("吸尘器", "vacuum"), ("空气炸锅", "air fryer"), ("风扇", "fan")),
             ("万家", "Voltix", "清风", "Kraft", "Premia")),
    Category("运动户外", 340, (("瑜伽垫", "yoga mat"), ("帐篷", "tent"), ("自行车灯", "bike light"),
             ("哑铃", "dumbbell")), ("跃动", "Trailhead", "山野", "Summit", "Alpenglow")),
    Category("图书文具", 48, (("小说", "novel"), ("笔记簿", "notebook"), ("钢笔", "fountain pen"),
             ("回形针", "paper clip")), ("青竹", "Papyr", "墨香", "Quill", "Scriptor")),
)  # fmt: skip
PARTS = 4
BRANDS = 5

# (Chinese, English) product name patterns; {brand}, {zh}, {en}, {n}: model number
TITLES = ("{brand} {zh} {n}款", "{brand} {en} No.{n}", "{brand}{zh}（{en}）{n}", '{brand} "{n}" {zh}')

# search texts by subcategory; quotes, backslash and emoji are here on purpose
QUERIES = ("{zh}", "{zh} 推荐", "便宜的{zh}", "{en}", "best {en} 2026", '{en} "gift"', "{zh}\\{en}", "{zh}🎁送礼")

# province, city, weight
PLACES = (
    ("北京", "北京", 9), ("上海", "上海", 10), ("广东", "深圳", 8), ("广东", "广州", 8), ("浙江", "杭州", 7),
    ("江苏", "南京", 5), ("江苏", "苏州", 5), ("四川", "成都", 7), ("重庆", "重庆", 5), ("湖北", "武汉", 5),
    ("陕西", "西安", 4), ("湖南", "长沙", 4), ("山东", "青岛", 3), ("山东", "济南", 3), ("河南", "郑州", 4),
    ("福建", "厦门", 3), ("天津", "天津", 3), ("辽宁", "大连", 2), ("安徽", "合肥", 3), ("云南", "昆明", 2),
    ("黑龙江", "哈尔滨", 2), ("广西", "南宁", 2), ("新疆", "乌鲁木齐", 1), ("海南", "海口", 1),
)  # fmt: skip

CHANNELS = ("app", "web", "mini_program")
DEVICES = (("iphone", "android", "ipad"), ("windows", "mac", "linux"), ("iphone", "android", "harmony"))
PAYMENTS = ("alipay", "wechat_pay", "union_pay", "credit_card", "cod")
JOBS = ("工程师", "教师", "医生", "学生", "销售", "公务员", "设计师", "会计", "个体经营", "退休", "nurse", "developer")

# how forms write the same thing; the empty form means not known
GENDER_FORMS = {
    "male": ("Male", "MALE", "male", "m", "M", "男"),
    "female": ("Female", "FEMALE", "female", "f", "F", "女"),
}

REMARKS = (
    "", "请放门口，谢谢", 'gift, please write "生日快乐"', "周末送货, 工作日没人", 'leave at the "front desk", 3F',
    "发票抬头：某某公司, 税号另发", 'he said "no box", ok', "不要香菜，不要葱", ",,,", '"急"', "易碎品, fragile",
    "call before delivery, 电话联系",
)  # fmt: skip

# what people write, by stars (1 to 5); {zh} and {en}: the subcategory
REVIEWS = (
    (
        "{zh}质量太差，用两天就坏了",
        "完全不值这个价，申请退款",
        'the {en} broke, support said "wait"',
        "terrible, do not buy",
    ),
    ("{zh}和描述不符，失望", "物流慢，包装破损", "the {en} is worse than expected", "poor quality, slow delivery"),
    ("{zh}一般般，凑合用", "还行，没有惊喜", "the {en} is okay for the price", "average, nothing special"),
    ("{zh}不错，挺满意的", "性价比可以，会再来", "good {en}, fast delivery", 'nice, as described: "solid"'),
    (
        "{zh}非常好，强烈推荐！",
        "质量超出预期，五星好评",
        "love this {en}, perfect",
        "excellent quality, will buy again",
    ),
)
