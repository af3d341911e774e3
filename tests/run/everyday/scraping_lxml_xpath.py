# Asked: read shop.html with XPath, and validate and transform a small XML document.
# Input: shop.html
# Needs: lxml
from lxml import etree, html

page = html.parse("shop.html").getroot()
names = page.xpath("//div[contains(@class, 'product')][.//p[@class='stock']='In stock']/h2/text()")
prices = [float(p.lstrip("€")) for p in page.xpath("//span[@class='price']/text()")]
print(names, f"sum {sum(prices):.2f}", page.findtext(".//title"))

schema = etree.XMLSchema(etree.fromstring("""
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="item" maxOccurs="unbounded"><xs:complexType>
      <xs:attribute name="sku" type="xs:string" use="required"/><xs:attribute name="n" type="xs:positiveInteger"/>
    </xs:complexType></xs:element>
  </xs:sequence></xs:complexType></xs:element>
</xs:schema>"""))
for text in ('<order><item sku="T-1" n="2"/></order>', '<order><item n="0"/></order>'):
    document = etree.fromstring(text)
    print(schema.validate(document), [e.message.split(":")[0] for e in schema.error_log])
transform = etree.XSLT(etree.fromstring("""
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform"><xsl:output method="text"/>
  <xsl:template match="item"><xsl:value-of select="@n"/> x <xsl:value-of select="@sku"/></xsl:template>
</xsl:stylesheet>"""))
print(str(transform(etree.fromstring('<order><item sku="T-1" n="2"/></order>'))))
